-- Written by the edge and trusted behind it: a client's own copy would be believed.
local TRUSTED = {"x-client-id", "x-envoy-original-path", "x-envoy-original-method"}
local FROM_GRPC = {"grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding"}
-- Of a refusal whose own number came too late for a header: in the trailers, after the body was read to its end.
local RETRY_AFTER_S = {["429"] = "5", ["503"] = "2"}

local function unescaped(path)
  return (path:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- gRPC refuses what is not base64 in such a header, as a 500; nobody here reads any from HTTP.
local function remove_binary(headers)
  local found = {}
  for name in pairs(headers) do
    if name:find("-bin", -4, true) then found[#found + 1] = name end
  end
  for _, name in ipairs(found) do headers:remove(name) end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  for _, name in ipairs(TRUSTED) do headers:remove(name) end
  local content_type = headers:get("content-type") or ""
  if not content_type:find("^application/grpc") then remove_binary(headers) end
  if content_type:find("[^\t -~]") then
    handle:respond({[":status"] = "400"}, "the Content-Type header may hold printable ASCII only")
    return
  end
  local path = (headers:get(":path") or ""):match("^[^?]*")
  if path:gsub("%%%x%x", ""):find("%%") or unescaped(path):find("[^ -~]") then
    -- No endpoint and no id can hold such a byte; one that no protobuf string can would end as a 500.
    handle:respond({[":status"] = "400"}, "the path may hold printable ASCII and valid escapes only")
  elseif unescaped(path):find("^/~") then
    -- What host names are turned into; from a client it would name an API without its host.
    handle:respond({[":status"] = "404"}, "there is nothing at this path")
  end
end

-- A caller that has gone sees no answer, so this one comes from a service that ends over the call: 499 would blame the
-- caller, and clients do not repeat it.
local function answer_for_a_stop(handle)
  local body = handle:body(true)
  if body and body:length() > 0 then
    local text = '{"code":14,"message":"the service ended over the call; try again","details":[]}'
    handle:headers():replace("content-length", body:setBytes(text))
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  if (headers:get("content-type") or ""):find("^application/grpc") then return end
  for _, name in ipairs(FROM_GRPC) do headers:remove(name) end
  local cancelled = headers:get(":status") == "499"
  if cancelled then headers:replace(":status", "503") end
  local wait_s = RETRY_AFTER_S[headers:get(":status")]
  if wait_s and not headers:get("retry-after") then headers:add("retry-after", wait_s) end
  if cancelled then answer_for_a_stop(handle) end
  -- A streamed reply ends in trailers, which HTTP/2 clients would see. The body does not wait.
  local trailers = handle:trailers()
  if not trailers then return end
  for _, name in ipairs(FROM_GRPC) do trailers:remove(name) end
end
