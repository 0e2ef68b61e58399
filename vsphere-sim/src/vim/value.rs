//! Values of the vim25 schema, and how they are written.

use std::fmt::Write;

/// A reference to a managed object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moref {
    pub(crate) kind: String,
    pub(crate) id: String,
}

impl Moref {
    pub(crate) fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
        }
    }
}

/// A value. The names of types are those of the schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i32),
    Long(i64),
    Text(String),
    /// A point in time.
    Time(String),
    /// An enumeration, by its type.
    Enum(&'static str, &'static str),
    Moref(Moref),
    /// An object with its fields, in the order of the schema.
    Data(String, Vec<(&'static str, Value)>),
    /// A value where the schema allows any: it says its type.
    Any(Box<Value>),
    /// Several values of a type.
    List(&'static str, Vec<Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn moref(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self::Moref(Moref::new(kind, id))
    }

    pub(crate) fn morefs<T: Into<String>>(
        kind: &'static str,
        ids: impl IntoIterator<Item = T>,
    ) -> Self {
        let items = ids.into_iter().map(|id| Self::moref(kind, id));
        Self::List("ManagedObjectReference", items.collect())
    }

    pub(crate) fn data(kind: impl Into<String>, fields: Vec<(&'static str, Value)>) -> Self {
        Self::Data(kind.into(), fields)
    }

    /// What a path of names, joined by dots, leads to.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| match value {
            Self::Data(_, fields) => fields
                .iter()
                .find_map(|(field, value)| (*field == name).then_some(value)),
            _ => None,
        })
    }

    /// The managed objects that it refers to.
    pub(crate) fn references(&self) -> Vec<&Moref> {
        match self {
            Self::Moref(moref) => vec![moref],
            Self::List(_, items) => items.iter().flat_map(Self::references).collect(),
            _ => Vec::new(),
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::Bool(_) => "xsd:boolean".to_owned(),
            Self::Int(_) => "xsd:int".to_owned(),
            Self::Long(_) => "xsd:long".to_owned(),
            Self::Text(_) => "xsd:string".to_owned(),
            Self::Time(_) => "xsd:dateTime".to_owned(),
            Self::Enum(kind, _) => (*kind).to_owned(),
            Self::Moref(_) => "ManagedObjectReference".to_owned(),
            Self::Data(kind, _) => kind.clone(),
            Self::Any(value) => value.kind(),
            Self::List(kind, _) => format!("ArrayOf{}", capital(kind.trim_start_matches("xsd:"))),
        }
    }
}

/// Fields of an object that may be missing.
pub(crate) fn optional(name: &'static str, value: Option<Value>) -> Vec<(&'static str, Value)> {
    value.map(|value| (name, value)).into_iter().collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Writes an element whose type the schema fixes.
pub(crate) fn write(out: &mut String, name: &str, value: &Value) {
    write_element(out, name, value, false);
}

/// Writes an element of any type, which says its type: lists are one element with the items in it.
pub(crate) fn write_any(out: &mut String, name: &str, value: &Value) {
    write_element(out, name, value, true);
}

fn write_element(out: &mut String, name: &str, value: &Value, any: bool) {
    let mut open = |extra: &str| {
        let _ = write!(out, "<{name}{extra}>");
    };
    let typed = |kind: &str| format!(" xsi:type=\"{}\"", escape(kind));
    match value {
        Value::Any(value) => write_element(out, name, value, true),
        Value::Moref(moref) => {
            let kind = escape(&moref.kind);
            let extra = if any {
                typed("ManagedObjectReference")
            } else {
                String::new()
            };
            let _ = write!(
                out,
                "<{name} type=\"{kind}\"{extra}>{}</{name}>",
                escape(&moref.id)
            );
        }
        Value::Data(kind, fields) => {
            open(&typed(kind));
            for (field, value) in fields {
                write_element(out, field, value, false);
            }
            let _ = write!(out, "</{name}>");
        }
        Value::List(kind, items) if any => {
            open(&typed(&value.kind()));
            for item in items {
                write_element(out, kind.trim_start_matches("xsd:"), item, false);
            }
            let _ = write!(out, "</{name}>");
        }
        Value::List(_, items) => {
            for item in items {
                write_element(out, name, item, false);
            }
        }
        scalar => {
            open(&if any {
                typed(&value.kind())
            } else {
                String::new()
            });
            let _ = match scalar {
                Value::Bool(value) => write!(out, "{value}"),
                Value::Int(value) => write!(out, "{value}"),
                Value::Long(value) => write!(out, "{value}"),
                Value::Enum(_, text) => write!(out, "{text}"),
                Value::Text(text) | Value::Time(text) => write!(out, "{}", escape(text)),
                Value::Moref(_) | Value::Data(..) | Value::List(..) | Value::Any(_) => Ok(()),
            };
            let _ = write!(out, "</{name}>");
        }
    }
}

/// Text as it may stand in an element or an attribute. Control characters, which XML cannot hold, become spaces.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(letter),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(value: &Value) -> String {
        let mut out = String::new();
        write_any(&mut out, "val", value);
        out
    }

    #[test]
    fn values_say_their_types_where_the_schema_does_not() {
        assert_eq!(any(&Value::Int(5)), "<val xsi:type=\"xsd:int\">5</val>");
        assert_eq!(
            any(&Value::moref("HostSystem", "host-1")),
            "<val type=\"HostSystem\" xsi:type=\"ManagedObjectReference\">host-1</val>"
        );
        let list = Value::List("xsd:string", vec![Value::text("a<b")]);
        assert_eq!(
            any(&list),
            "<val xsi:type=\"ArrayOfString\"><string>a&lt;b</string></val>"
        );
        let data = Value::data("Inner", vec![("number", Value::Long(1)), ("names", list)]);
        assert_eq!(
            any(&data),
            "<val xsi:type=\"Inner\"><number>1</number><names>a&lt;b</names></val>"
        );
    }

    #[test]
    fn paths_lead_into_objects() {
        let inner = Value::data("Inner", vec![("b", Value::Bool(true))]);
        let data = Value::data("Outer", vec![("a", inner)]);
        assert_eq!(data.at("a.b"), Some(&Value::Bool(true)));
        assert_eq!(data.at("a.c"), None);
        assert_eq!(data.at("a.b.c"), None);
    }
}
