//! Which properties of which objects somebody asks for, and finding them.

use std::collections::BTreeSet;

use super::object::{Properties, is_kind};
use super::request::Arguments;
use crate::vim::{Fault, Moref, Value};

/// So many objects are looked at.
const MAX_OBJECTS: usize = 10_000;

/// A `PropertyFilterSpec`.
#[derive(Debug)]
pub(super) struct Filter {
    wanted: Vec<Wanted>,
    begins: Vec<Begin>,
    /// Ways from one object to others, all that the filter names.
    ways: Vec<Way>,
}

/// Properties of objects of a type.
#[derive(Debug)]
struct Wanted {
    kind: String,
    all: bool,
    paths: Vec<String>,
}

/// An object that the search begins with.
#[derive(Debug)]
struct Begin {
    object: Moref,
    skip: bool,
    ways: Vec<usize>,
}

/// From objects of a type along a property.
#[derive(Debug)]
struct Way {
    name: String,
    kind: String,
    path: String,
    skip: bool,
    next: Vec<usize>,
}

/// An object with the properties that were asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) object: Moref,
    pub(super) properties: Vec<(String, Value)>,
}

impl Filter {
    pub(super) fn parse(spec: Arguments<'_>) -> Result<Self, Fault> {
        let mut filter = Self {
            wanted: Vec::new(),
            begins: Vec::new(),
            ways: Vec::new(),
        };
        for wanted in spec.all("propSet") {
            filter.wanted.push(Wanted {
                kind: wanted.text("type")?.to_owned(),
                all: wanted.flag("all"),
                paths: wanted
                    .all("pathSet")
                    .map(|path| path.content().to_owned())
                    .collect(),
            });
        }
        let mut named = Vec::new();
        for begin in spec.all("objectSet") {
            let ways = filter.ways(begin, &mut named)?;
            filter.begins.push(Begin {
                object: begin.moref("obj")?,
                skip: begin.flag("skip"),
                ways,
            });
        }
        filter.resolve(named)?;
        Ok(filter)
    }

    /// The ways of a `selectSet`. A mere name stands for a way that may come later: `named` remembers who asked for it.
    fn ways(
        &mut self,
        owner: Arguments<'_>,
        named: &mut Vec<(usize, String)>,
    ) -> Result<Vec<usize>, Fault> {
        let mut ways = Vec::new();
        for select in owner.all("selectSet") {
            let position = self.ways.len();
            ways.push(position);
            let name = select
                .find("name")
                .map_or("", Arguments::content)
                .to_owned();
            let Some(path) = select.find("path") else {
                named.push((position, name.clone()));
                self.ways.push(Way {
                    name: String::new(),
                    kind: String::new(),
                    path: String::new(),
                    skip: false,
                    next: Vec::new(),
                });
                continue;
            };
            self.ways.push(Way {
                name,
                kind: select.text("type")?.to_owned(),
                path: path.content().to_owned(),
                skip: select.flag("skip"),
                next: Vec::new(),
            });
            self.ways[position].next = self.ways(select, named)?;
        }
        Ok(ways)
    }

    /// Puts the ways that names stand for in their places.
    fn resolve(&mut self, named: Vec<(usize, String)>) -> Result<(), Fault> {
        for (position, name) in named {
            let found = self
                .ways
                .iter()
                .position(|way| !way.path.is_empty() && way.name == name);
            let found = found.ok_or_else(|| Fault::invalid_argument("selectSet"))?;
            let begins = self.begins.iter_mut().map(|begin| &mut begin.ways);
            let ways = self.ways.iter_mut().map(|way| &mut way.next);
            for next in begins.chain(ways).flat_map(|list| list.iter_mut()) {
                if *next == position {
                    *next = found;
                }
            }
        }
        Ok(())
    }

    /// The objects, each once, in the order in which they are found.
    pub(super) fn collect(&self, properties: &Properties<'_>) -> Result<Vec<Found>, Fault> {
        let mut walked = BTreeSet::new();
        let mut taken = BTreeSet::new();
        let mut objects = Vec::new();
        let mut waiting: Vec<(Moref, bool, &[usize])> = Vec::new();
        for begin in self.begins.iter().rev() {
            waiting.push((begin.object.clone(), begin.skip, &begin.ways));
        }
        while let Some((object, skip, ways)) = waiting.pop() {
            let value = properties
                .of(&object)
                .ok_or_else(|| Fault::not_found(&object))?;
            if !skip && taken.insert(object.clone()) {
                objects.push((object.clone(), value.clone()));
            }
            if objects.len() > MAX_OBJECTS {
                break;
            }
            for position in ways.iter().rev() {
                let Some(way) = self.ways.get(*position) else {
                    continue;
                };
                if !is_kind(&object.kind, &way.kind) || !walked.insert((object.clone(), *position))
                {
                    continue;
                }
                let reached = value
                    .at(&way.path)
                    .map(Value::references)
                    .unwrap_or_default();
                for next in reached.into_iter().rev() {
                    waiting.push((next.clone(), way.skip, &way.next));
                }
            }
        }
        let found = objects
            .into_iter()
            .filter_map(|(object, value)| self.select(object, &value));
        Ok(found.collect())
    }

    /// What is asked for of an object; none if nothing is said about its type.
    fn select(&self, object: Moref, value: &Value) -> Option<Found> {
        let wanted: Vec<_> = self
            .wanted
            .iter()
            .filter(|wanted| is_kind(&object.kind, &wanted.kind))
            .collect();
        if wanted.is_empty() {
            return None;
        }
        let mut selected = Vec::new();
        let Value::Data(_, fields) = value else {
            return None;
        };
        for wanted in wanted {
            if wanted.all {
                let all = fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()));
                selected.extend(all);
            }
            for path in &wanted.paths {
                // A property that is not set is left out, as is one of a schema that this is only a part of.
                if let Some(value) = value.at(path) {
                    selected.push((path.clone(), value.clone()));
                }
            }
        }
        Some(Found {
            object,
            properties: selected,
        })
    }
}
