# Fuzz targets of area 'vocab'.
