//! Values as read from the file, each with its place, before rules between them are checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use model::{
    Affinity, AudienceValue, Balancing, Count, Demand, HedgeAfter, Metric, Network, OnFail,
    OnNoData, Port, Protocol, ProxyProtocol, SearchPath, ServiceName, Share,
};

use crate::declare::{Section, StrategyName};
use crate::diagnostic::Span;

/// A value that has the form its key asks for.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Flag(bool),
    Whole(u64),
    Text(String),
    Name(ServiceName),
    Duration(Duration),
    Share(Share),
    Count(Count),
    Bound(Bound),
    Address(SocketAddr),
    Ports(u16, u16),
    Network(Network),
    Port(Port),
    Signal(i32),
    Strategy(StrategyName),
    Affinity(Affinity),
    StickToInstance,
    Metric(Metric),
    OnFail(OnFail),
    OnNoData(OnNoData),
    Match(AudienceValue),
    ProxyProtocol(ProxyProtocol),
    Protocol(Protocol),
    Demand(Demand),
    Balancing(Balancing),
    SearchPath(SearchPath),
    HedgeAfter(HedgeAfter),
    Command(Vec<Item<String>>),
    List(Vec<Item<Value>>),
    /// In the order of the text.
    Map(Vec<Pair>),
    Table(Table),
    Tables(Vec<Table>),
    /// Services or databases, in the order of the text.
    Services(Vec<(ServiceName, Table)>),
}

/// A bound as written: its unit must fit the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Share(Share),
    Duration(Duration),
}

/// An element of a list and its place.
#[derive(Debug, Clone)]
pub(crate) struct Item<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// An entry of a table whose keys are the user's, with both places.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: String,
    pub(crate) span: Span,
}

/// A table of the file with every key of its section.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The section that declares its keys.
    pub(crate) section: &'static Section,
    /// Where it is in the project, `service.web.health`; empty at the top.
    pub(crate) path: String,
    /// Its header, or the whole of it when it is written within braces.
    pub(crate) span: Span,
    /// What is known of each key.
    pub(crate) entries: BTreeMap<&'static str, Entry>,
}

/// What is known of one key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where it is written, key and value; `None`: it is not there.
    pub(crate) written: Option<(Span, Span)>,
    /// The value, or the default where it is absent or wrong; `None`: there is neither.
    pub(crate) value: Option<Value>,
    /// Whether it is absent, or written as declared.
    pub(crate) sound: bool,
}

impl Table {
    /// The value of a key, written or by default.
    ///
    /// `None` when it is absent without a default, or wrong (which is reported already).
    pub(crate) fn get<'t, T: TryFrom<&'t Value>>(&'t self, name: &str) -> Option<T> {
        let value = self.entry(name).value.as_ref()?;
        let typed = T::try_from(value).ok();
        assert!(typed.is_some(), "`{name}` is declared with another type");
        typed
    }

    /// The value of a key that is declared with a default.
    pub(crate) fn value<'t, T: TryFrom<&'t Value>>(&'t self, name: &str) -> T {
        self.get(name).expect("declared with a default")
    }

    /// The table of a key that may have a text instead.
    pub(crate) fn either(&self, name: &str) -> Option<&Table> {
        match self.entry(name).value.as_ref() {
            Some(Value::Table(table)) => Some(table),
            Some(_) | None => None,
        }
    }

    /// Whether the key is there, rightly or wrongly.
    pub(crate) fn is_written(&self, name: &str) -> bool {
        self.entry(name).written.is_some()
    }

    /// Whether the key is absent, or written as declared.
    pub(crate) fn is_sound(&self, name: &str) -> bool {
        self.entry(name).sound
    }

    /// Where the value is written; else where the table is.
    pub(crate) fn span(&self, name: &str) -> Span {
        let written = self.entry(name).written.as_ref();
        written.map_or_else(|| self.span.clone(), |(_, value)| value.clone())
    }

    /// Where the key is written; else where the table is.
    pub(crate) fn key_span(&self, name: &str) -> Span {
        let written = self.entry(name).written.as_ref();
        written.map_or_else(|| self.span.clone(), |(key, _)| key.clone())
    }

    fn entry(&self, name: &str) -> &Entry {
        self.entries.get(name).expect("declared in its section")
    }
}

/// Lets `Table::get` hand out the content of one kind of value.
macro_rules! content {
    ($($variant:ident => $type:ty),+ $(,)?) => {
        $(impl<'t> TryFrom<&'t Value> for $type {
            type Error = ();

            fn try_from(value: &'t Value) -> Result<Self, ()> {
                if let Value::$variant(content) = value {
                    Ok(content.to_owned())
                } else {
                    Err(())
                }
            }
        })+
    };
}

/// As `content`, by reference.
macro_rules! content_by_reference {
    ($($variant:ident => $type:ty),+ $(,)?) => {
        $(impl<'t> TryFrom<&'t Value> for &'t $type {
            type Error = ();

            fn try_from(value: &'t Value) -> Result<Self, ()> {
                if let Value::$variant(content) = value {
                    Ok(content)
                } else {
                    Err(())
                }
            }
        })+
    };
}

content! {
    Flag => bool,
    Whole => u64,
    Text => String,
    Name => ServiceName,
    Duration => Duration,
    Share => Share,
    Count => Count,
    Bound => Bound,
    Address => SocketAddr,
    Port => Port,
    Signal => i32,
    Strategy => StrategyName,
    Affinity => Affinity,
    Metric => Metric,
    OnFail => OnFail,
    OnNoData => OnNoData,
    Match => AudienceValue,
    ProxyProtocol => ProxyProtocol,
    Protocol => Protocol,
    Demand => Demand,
    Balancing => Balancing,
    SearchPath => SearchPath,
    HedgeAfter => HedgeAfter,
}

content_by_reference! {
    Command => [Item<String>],
    List => [Item<Value>],
    Map => [Pair],
    Table => Table,
    Tables => [Table],
    Services => [(ServiceName, Table)],
}

impl TryFrom<&Value> for (u16, u16) {
    type Error = ();

    fn try_from(value: &Value) -> Result<Self, ()> {
        if let Value::Ports(begin, end) = value {
            Ok((*begin, *end))
        } else {
            Err(())
        }
    }
}
