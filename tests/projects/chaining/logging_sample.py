from cortex_internal.lib.log import logger as log


class Handler:
    def handle_async(self, payload):
        log.info("received payload", extra={"payload": payload})
        if isinstance(payload, dict):
            log.warning("flattened", extra=payload)
