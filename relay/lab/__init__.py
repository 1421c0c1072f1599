"""The lab: networks that are really broken, in namespaces of this machine, and the verdict that each must get."""
