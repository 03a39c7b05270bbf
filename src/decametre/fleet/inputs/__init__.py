"""The products that a fleet processes: from lists, folders, STAC catalogs and STAC APIs."""
