//! The explanation as text.

use std::fmt;

use super::{Because, ContainerExplanation, Explanation, Revision, SetExplanation};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applied = self.sets.iter().filter(|set| set.outcome == "applied").count();
        writeln!(f, "{}: {}, {applied} of {} SidecarSets apply", self.pod, self.verdict, self.sets.len())?;
        if let Some(reason) = &self.reason {
            writeln!(f, "  {reason}")?;
        }
        for set in &self.sets {
            write!(f, "\n{set}")?;
        }
        if !self.annotations.is_empty() {
            writeln!(f, "\nannotations written")?;
            for (key, value) in &self.annotations {
                writeln!(f, "  {key}: {value}")?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many texts end with their rule already.
        let rule = format!("[{}]", self.rule);
        if self.text.ends_with(&rule) { f.write_str(&self.text) } else { write!(f, "{} {rule}", self.text) }
    }
}

impl fmt::Display for SetExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SidecarSet {}: {}", self.set, self.outcome)?;
        match &self.revision {
            Some(Revision { name, live: true }) if name.is_empty() => write!(f, ", as it is now")?,
            Some(Revision { name, live: true }) => write!(f, ", as it is now (revision {name})")?,
            Some(Revision { name, live: false }) => write!(f, ", in stored revision {name}")?,
            None => {}
        }
        writeln!(f)?;
        if let Some(reason) = &self.reason {
            writeln!(f, "  {reason}")?;
        }
        for container in &self.containers {
            write!(f, "{container}")?;
        }
        for (what, names) in [
            ("volume", &self.volumes),
            ("pull secret", &self.image_pull_secrets),
            ("patchPodMetadata", &self.patched_annotations),
        ] {
            for name in names {
                writeln!(f, "  + {what} {name}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ContainerExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            "replaces the entry of that name" => "in place of the entry of that name".to_owned(),
            place => format!("{place} the Pod's own"),
        };
        writeln!(f, "  + {} {}, {place}", self.list, self.name)?;
        for taken in &self.taken {
            writeln!(f, "      {} {} from container {}", taken.what, taken.key, taken.from)?;
        }
        if !self.resources.is_empty() {
            writeln!(f, "      resources {}", self.resources)?;
        }
        Ok(())
    }
}
