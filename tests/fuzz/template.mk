# Fuzz targets of area 'template'.
