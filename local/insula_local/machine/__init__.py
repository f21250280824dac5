"""This machine: programs of the wheels, free ports, disk space, the hosts file, network namespaces."""
