"""LightningModules that learn a memory by back-propagation through time."""
