# Unit tests of area 'grammar': constrained decoding, sampling.
