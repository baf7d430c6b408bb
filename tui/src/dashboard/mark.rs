//! An op that is marked on one screen and followed on the others.

use slmscope_profiles::plan::site::OpSite;

/// The op in all of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Part of the model; empty for an op of any part.
    pub(super) module: String,
    /// Its name.
    pub(super) name: String,
}

impl Mark {
    /// Whether a site is the op.
    pub(super) fn is(&self, site: &OpSite) -> bool {
        self.is_named(site.module.as_str(), &site.name)
    }

    /// The same by part and name.
    pub(super) fn is_named(&self, module: &str, name: &str) -> bool {
        self.name == name && (self.module.is_empty() || self.module == module)
    }
}
