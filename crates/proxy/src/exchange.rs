//! What one request and its response need while they last; reused for others afterwards.

use http1::{RequestHead, ResponseHead};

use crate::buffer::Blocks;
use crate::flow::Flow;

/// One exchange's memory.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    /// From the client to the endpoint.
    pub(crate) up: Flow,
    /// From the endpoint to the client.
    pub(crate) down: Flow,
}

impl Exchange {
    /// Makes ready for the next request on the same connection; what was read of it stays.
    pub(crate) fn begin(&mut self) {
        self.up.begin();
        self.down.begin();
        self.down.forget_input();
        self.response.reset();
    }

    /// Makes ready for another attempt at the same request.
    pub(crate) fn again(&mut self) {
        self.up.rewind();
        self.down.begin();
        self.down.forget_input();
        self.response.reset();
    }

    /// Makes ready for another connection.
    pub(crate) fn empty(&mut self, blocks: &Blocks) {
        self.begin();
        self.request.reset();
        self.up.forget_input();
        self.up.input.give_back(blocks);
        self.down.input.give_back(blocks);
    }
}
