# Unit tests of area 'engine': the engine's endpoints.
