//! A rule that was broken, and by what.

use std::fmt;
use std::sync::Arc;

use crate::call::Call;
use crate::rule::Rule;

/// One broken rule.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    /// What is wrong, in a few words.
    pub(crate) what: String,
    /// The call that broke the rule.
    pub(crate) call: Arc<Call>,
    /// The call before it that it conflicts with.
    pub(crate) earlier: Option<Arc<Call>>,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "vixdisklib-rule-check: RULE BROKEN: {}",
            self.rule.name()
        )?;
        writeln!(formatter, "  rule     {}", self.rule.text())?;
        writeln!(formatter, "  but      {}", self.what)?;
        writeln!(formatter, "  call     {}", self.call)?;
        if let Some(earlier) = &self.earlier {
            writeln!(formatter, "  earlier  {earlier}")?;
        }
        Ok(())
    }
}
