# Unit tests of area 'vocab': vocabularies.
