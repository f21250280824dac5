-- guard: refuse requests that no service can handle. It removes the query, because the transcoder would set fields of
-- the request from it. envoy.yaml skips it for a request that it would neither refuse nor change.
local REQUEST_ID_CHARS_MAX = 128

-- envoy.yaml answers 422 as 400 with this text: Envoy's own texts for 400 name its parts.
local function refuse(handle, status, text)
  handle:respond({[":status"] = status}, text)
end

local function unescaped(path)
  return (path:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Each of Envoy's threads runs its own copy of this script; without a seed, all would use the same one.
math.randomseed(os.time() + tonumber(tostring({}):match("0x(%x+)"), 16))

local function new_request_id()
  return (("xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx"):gsub("x", function() return ("%x"):format(math.random(0, 15)) end))
end

local function is_http_1_0(handle)
  return handle:streamInfo():protocol() == "HTTP/1.0"
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local target = headers:get(":path")
  local path = target:match("^[^?]*")
  if path ~= target then headers:replace(":path", path) end
  if path:find("[^%w/._-]") then
    local plain = unescaped(path)
    if path:gsub("%%%x%x", ""):find("%%") or plain:find("[^ -~]") then
      -- No endpoint and no id has such a byte, and a byte that a protobuf string cannot contain would cause a 500.
      return refuse(handle, "422", "the path may hold printable ASCII and valid escapes only")
    elseif plain:find("^/~") then
      -- The internal form of host names. With it, a client could call an API by its name.
      return refuse(handle, "404", "")
    end
  end
  local content_type = headers:get("content-type") or ""
  if content_type:find("[^\t -~]") then
    return refuse(handle, "422", "the Content-Type header may hold printable ASCII only")
  end
  if headers:get(":method") == "POST" and not headers:get("content-length") and is_http_1_0(handle)
    and not content_type:find("^application/grpc") then
    -- Without a length, a server cannot detect the end of an HTTP/1.0 body. A gRPC-Web call has no length at this point;
    -- if it has no body either, it has no message, which the service refuses.
    return refuse(handle, "411", "a POST over HTTP/1.0 needs the Content-Length header; HTTP/1.1 may also send chunks")
  end
  local id = headers:get("x-request-id")
  if #id > REQUEST_ID_CHARS_MAX or id:find("[^!-~]") then headers:replace("x-request-id", new_request_id()) end
end
