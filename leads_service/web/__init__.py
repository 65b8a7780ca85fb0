"""HTTP: the only wing that imports Flask."""
