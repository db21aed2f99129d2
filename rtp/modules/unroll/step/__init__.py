"""The functions that `StepwiseUnroll` calls at every step, and how they are made fast."""
