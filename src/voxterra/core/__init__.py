"""Domain types: frozen dataclasses over NumPy arrays. Imports numpy and pyproj only."""
