//! The inline live view: on a terminal a few lines that are redrawn below what scrolls by,
//! elsewhere plain lines.

use std::io::{IsTerminal, Stderr, stderr};

use engine::RolloutStatus;
use ratatui::backend::CrosstermBackend;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Widget};
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::output::{Output, harmless};
use crate::render::status;

/// Lines that are redrawn.
const HEIGHT: u16 = 8;

/// Shows rollouts as they go.
pub(crate) struct Live {
    output: Output,
    terminal: Option<Terminal<CrosstermBackend<Stderr>>>,
}

impl Live {
    /// Whether a person watches at a terminal.
    pub(crate) fn possible(output: Output) -> bool {
        !output.is_json() && stderr().is_terminal()
    }

    /// A view that takes its lines once there is something to draw.
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            terminal: None,
        }
    }

    /// Says one sentence that stays.
    pub(crate) fn say(&mut self, text: &str) {
        match &mut self.terminal {
            Some(terminal) => {
                let line = Line::raw(harmless(text));
                // A terminal that has gone away shows nothing; the rollout goes on.
                let _ = terminal.insert_before(1, |buffer| line.render(buffer.area, buffer));
            }
            None => self.output.note(text),
        }
    }

    /// Redraws what runs.
    pub(crate) fn draw(&mut self, running: &[RolloutStatus]) {
        if running.is_empty() {
            return self.clear();
        }
        if self.terminal.is_none() && Self::possible(self.output) {
            let viewport = Viewport::Inline(HEIGHT);
            self.terminal = Terminal::with_options(
                CrosstermBackend::new(stderr()),
                TerminalOptions { viewport },
            )
            .ok();
        }
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let lines = lines(running);
        let _ = terminal.draw(|frame| {
            let area = frame.area();
            // Visible and below the text: Ctrl-C ends the process there, and the shell goes on there.
            let below = u16::try_from(lines.len()).unwrap_or(HEIGHT);
            let last = area.height.saturating_sub(1);
            frame.set_cursor_position((area.x, area.y + below.min(last)));
            frame.render_widget(Paragraph::new(Text::from(lines)), area);
        });
    }

    /// Gives the lines back, so that results follow without a hole; a later draw takes new ones.
    pub(crate) fn clear(&mut self) {
        if let Some(mut terminal) = self.terminal.take() {
            let begin = terminal.get_frame().area().as_position();
            let _ = terminal.clear();
            let _ = terminal.set_cursor_position(begin);
        }
    }
}

/// What is redrawn: what runs, cut so that one line stays free, and how to leave.
fn lines(running: &[RolloutStatus]) -> Vec<Line<'static>> {
    let mut text = String::new();
    for rollout in running {
        status::running(rollout, &mut text);
    }
    let text = text.trim_start_matches('\n');
    let rows = text.lines().take(usize::from(HEIGHT) - 2);
    let mut lines: Vec<Line<'static>> = rows.map(|row| Line::raw(row.to_owned())).collect();
    lines.push(Line::raw(
        "  Ctrl-C leaves; the server goes on (`gapless watch` comes back)",
    ));
    lines
}
