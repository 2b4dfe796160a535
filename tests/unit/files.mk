# Unit tests of area 'files': model files.
