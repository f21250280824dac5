-- guard: refuse requests that no service can handle, and complete the errors of the services.
-- It removes the query, because the transcoder would set fields of the request from it.
local REQUEST_ID_CHARS_MAX = 128
-- Retry-After of these statuses. The service sends its own value in the trailers, which is too late for a header.
local RETRY_AFTER_S = {["429"] = "5", ["503"] = "2"}
-- gRPC's own texts for a message over its limit, and for metadata that it cannot read. They are replaced, because gRPC
-- returns RESOURCE_EXHAUSTED for the first, after reading five bytes of it, and INTERNAL for the second.
local OVER_THE_LIMIT = "larger than max"
local UNREADABLE = {"^Error parsing '", "^Illegal header ", "^Compression bit "}
local TOO_LARGE = "the payload is larger than the limit of 4194304 bytes for one message; UploadWorkload takes it in pieces"
-- google.rpc.Status with ErrorInfo: PAYLOAD_TOO_LARGE, insula.
local TOO_LARGE_DETAILS = "CAMaRwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIbChFQQVlMT0FEX1RPT19MQVJHRRIGaW5zdWxh"

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

-- HTTP has its own status for two refusals that are INVALID_ARGUMENT in gRPC, and so 400 here. Only a service can make
-- them: it knows the size of a decompressed payload, and the types that it decodes. The body is searched for the quoted
-- reason; a message cannot contain it, because its quotes are escaped.
local STATUS_OF_REASON = {PAYLOAD_TOO_LARGE = "413", ENCODING_UNSUPPORTED = "415"}

local function status_by_reason(handle)
  local body = handle:body(true)
  local length = body and body:length() or 0
  local reason = length > 0 and body:getBytes(0, length):match('"reason":"([A-Z_]+)"')
  return reason and STATUS_OF_REASON[reason]
end

-- A service that stops during a call ends it with CANCELLED, which the transcoder maps to 499. That status means that
-- the caller cancelled, and clients do not retry it. (A caller that did cancel gets no reply.)
local function answer_for_a_stop(handle)
  local body = handle:body(true)
  if body and body:length() > 0 then
    local text = '{"code":14,"message":"the service stopped during the call; try again","details":[]}'
    handle:headers():replace("content-length", body:setBytes(text))
  end
end

local function is_unreadable(message)
  for _, pattern in ipairs(UNREADABLE) do
    if message:find(pattern) then return true end
  end
end

local function correct_grpcs_own(headers, message)
  if message:find(OVER_THE_LIMIT, 1, true) then
    headers:replace("grpc-status", "3")
    headers:replace("grpc-message", TOO_LARGE)
    headers:replace("grpc-status-details-bin", TOO_LARGE_DETAILS)
  elseif is_unreadable(message) then
    headers:replace("grpc-status", "3")
    headers:replace("grpc-message", "malformed metadata or compression")
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if status == "200" then
    local message = headers:get("grpc-message")
    if message then correct_grpcs_own(headers, message) end
    return
  elseif status == "400" then
    status = status_by_reason(handle)
    if status then handle:headers():replace(":status", status) end -- `headers` is invalid after the body was read
    return
  end
  local cancelled = status == "499"
  if cancelled then
    status = "503"
    headers:replace(":status", status)
  end
  local wait_s = RETRY_AFTER_S[status]
  if wait_s and not headers:get("retry-after") then headers:add("retry-after", wait_s) end
  if cancelled then answer_for_a_stop(handle) end
end
