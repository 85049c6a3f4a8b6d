//! The switch of the kernel's seeded defects. This is the plain build, whose kernel has none. `bugs::seeded` puts
//! another file in this place in its copy of the source.

/// Whether the kernel of this build has the defects.
pub const BUILT_IN: bool = false;

/// Activates the defect of this name and no other, on this thread.
pub fn activate(name: Option<&str>) {
    assert!(name.is_none(), "the kernel of this build has no seeded defects");
}
