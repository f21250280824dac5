"""What this machine has: the wheels' programs, free ports, room on the disk, a hosts file, network namespaces."""
