//! What is remembered of each service beside its releases.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::ServiceName;

use super::{Store, StoreError};

impl Store {
    /// The services' own loopback addresses through the proxy, given once and for all.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn internal_addresses(
        &self,
    ) -> Result<BTreeMap<ServiceName, SocketAddr>, StoreError> {
        let fail = StoreError::sqlite("read the services' addresses");
        let mut statement = self
            .connection
            .prepare_cached("SELECT name, internal FROM services WHERE internal IS NOT NULL")
            .map_err(&fail)?;
        let mut rows = statement.query([]).map_err(&fail)?;
        let mut all = BTreeMap::new();
        while let Some(row) = rows.next().map_err(&fail)? {
            let (name, address): (String, String) =
                (row.get(0).map_err(&fail)?, row.get(1).map_err(&fail)?);
            if let (Ok(name), Ok(address)) = (ServiceName::try_new(&name), address.parse()) {
                all.insert(name, address);
            }
        }
        Ok(all)
    }

    /// Remembers a service's own address.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn put_internal_address(
        &mut self,
        service: &ServiceName,
        address: SocketAddr,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .execute(
                    "INSERT INTO services (name, internal) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET internal = excluded.internal",
                    [service.as_str(), &address.to_string()],
                )
                .map_err(StoreError::sqlite("write a service's address"))?;
            Ok(())
        })
    }
}
