"""gRPC as all services and commands use it: servers, error statuses, addresses, and the calls of the admin services."""
