# Unit tests of area 'template': chat templates, tool calls.
