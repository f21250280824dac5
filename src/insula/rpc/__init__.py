"""gRPC for all services and commands: servers, error statuses, addresses, and the client of the admin services."""
