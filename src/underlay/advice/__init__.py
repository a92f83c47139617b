"""Which CNI, proxy mode and reflectors suit a cluster, why, and the settings to paste. Pure."""
