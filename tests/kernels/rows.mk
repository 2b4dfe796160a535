# Tests of what deals with rows of activations, and of attention.
