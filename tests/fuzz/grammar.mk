# Fuzz targets of area 'grammar'.
