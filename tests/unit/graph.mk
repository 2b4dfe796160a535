# Unit tests of area 'graph': the graph.
