local AFTER_NAMESPACE = {[""] = true, [".svc"] = true, [".svc.cluster.local"] = true,
                         [".svc.cluster.local."] = true}

local function api_of(authority)
  local name, rest = authority:lower():match("^api%-([a-z0-9-]+)([^:]*)")
  if not name or rest == "" then return name end
  local namespace = rest:match("^%.[a-z0-9-]+")
  return namespace and AFTER_NAMESPACE[rest:sub(#namespace + 1)] and name
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local name = api_of(headers:get(":authority") or "")
  local path, query = headers:get(":path"):match("^([^?]*)(.*)")
  local is_grpc = (headers:get("content-type") or ""):find("^application/grpc")
  if not name or is_grpc or path == "/healthz" then return end
  headers:replace(":path", "/~/" .. name .. (path == "/" and "" or path) .. query)
end
