# Fuzz targets of area 'files'.
