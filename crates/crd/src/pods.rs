//! What people may say of the pods that nodes run in.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What people may say of pods; everything else is the operator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Pods {
    /// The image with the node's program; absent means the one that the operator was told when the
    /// Cluster was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// When the image is pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Names of Secrets that the image is pulled with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub image_pull_secrets: Vec<String>,
    /// The pods' priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// What the node's container asks for and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Whether nodes that must not fail together may share a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Laid over the pod template that the operator makes: objects field by field, lists of named
    /// things (containers, volumes, env) by name, other values replace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub template: Option<serde_json::Value>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At each start.
    Always,
    /// When the machine lacks it.
    IfNotPresent,
    /// Never: it must be there.
    Never,
}

impl ImagePullPolicy {
    /// The word in a pod.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Whether nodes that must not fail together may share a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// They wait for machines of their own.
    #[default]
    Strict,
    /// They share one if there is no other: for clusters on a single machine.
    Relaxed,
}

impl Pods {
    /// These words where they are said, else those of `cluster`.
    #[must_use]
    pub fn or(&self, cluster: &Self) -> Self {
        let secrets = match self.image_pull_secrets.is_empty() {
            true => cluster.image_pull_secrets.clone(),
            false => self.image_pull_secrets.clone(),
        };
        let priority = self.priority_class_name.clone();
        Self {
            image: self.image.clone().or_else(|| cluster.image.clone()),
            image_pull_policy: self.image_pull_policy.or(cluster.image_pull_policy),
            image_pull_secrets: secrets,
            priority_class_name: priority.or_else(|| cluster.priority_class_name.clone()),
            resources: self.resources.clone().or_else(|| cluster.resources.clone()),
            spread: self.spread.or(cluster.spread),
            template: self.template.clone().or_else(|| cluster.template.clone()),
        }
    }

    /// How strictly its nodes are kept apart.
    #[must_use]
    pub fn spread_in_force(&self) -> Spread {
        self.spread.unwrap_or_default()
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
