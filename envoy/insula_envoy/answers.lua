-- answers: complete the errors of the services. envoy.yaml skips it for a reply without an error.
-- Retry-After of these statuses. The service sends its own value in the trailers, which is too late for a header.
local RETRY_AFTER_S = {["429"] = "5", ["503"] = "2"}
-- gRPC's own texts for a message over its limit, and for metadata that it cannot read. They are replaced, because gRPC
-- returns RESOURCE_EXHAUSTED for the first, after reading five bytes of it, and INTERNAL for the second.
local OVER_THE_LIMIT = "larger than max"
local UNREADABLE = {"^Error parsing '", "^Illegal header ", "^Compression bit "}
local TOO_LARGE = "the payload is larger than the limit of 4194304 bytes for one message; UploadWorkload takes it in pieces"
-- google.rpc.Status with ErrorInfo: PAYLOAD_TOO_LARGE, insula.
local TOO_LARGE_DETAILS = "CAMaRwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIbChFQQVlMT0FEX1RPT19MQVJHRRIGaW5zdWxh"

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
