//! The names of a plan's steps, as they stand in a trace.

use slmscope_profiles::plan::site::{OpSite, SiteWeight};
use slmscope_profiles::roofline::Bound;

use super::super::names::{NameId, Names};

/// The names that a site has in a trace.
pub(super) struct SiteNames {
    pub(super) name: NameId,
    pub(super) module: NameId,
    pub(super) kind: NameId,
    pub(super) layer: Option<NameId>,
    /// Of its weights.
    pub(super) format: Option<NameId>,
    pub(super) shape: Option<NameId>,
}

impl SiteNames {
    pub(super) fn of(site: &OpSite, names: &mut Names) -> Self {
        let joined = |of: fn(&SiteWeight) -> String| {
            let mut parts: Vec<_> = site.weights.iter().map(of).collect();
            parts.dedup();
            (!parts.is_empty()).then(|| parts.join(" + "))
        };
        let format = joined(|weight| weight.format.name().to_owned());
        let shape = joined(|weight| format!("{} × {}", weight.shape[0], weight.shape[1]));
        Self {
            name: names.id(&site.name),
            module: names.id(site.module.as_str()),
            kind: names.id(site.kind.as_str()),
            layer: site.layer.map(|layer| names.id(&format!("layer {layer}"))),
            format: format.map(|text| names.id(&text)),
            shape: shape.map(|text| names.id(&text)),
        }
    }
}

/// The names of what binds an op, looked up once.
#[derive(Default)]
pub(super) struct BoundNames(Vec<(Bound, NameId)>);

impl BoundNames {
    pub(super) fn id(&mut self, bound: Bound, names: &mut Names) -> NameId {
        if let Some(&(_, id)) = self.0.iter().find(|known| known.0 == bound) {
            return id;
        }
        let id = names.id(bound.as_str());
        self.0.push((bound, id));
        id
    }
}
