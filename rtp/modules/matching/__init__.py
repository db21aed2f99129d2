"""LightningModules that learn a memory by matching: gradients (DC, DSA), distributions (DM), trajectories (MTT)."""
