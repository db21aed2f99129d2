"""The paper's studies: fits and tests of several settings and seeds, one table of results, resumable at any moment."""
