"""The lab: networks that are really broken, in namespaces of this machine, each with its verdict."""
