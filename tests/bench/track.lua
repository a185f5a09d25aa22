-- Requests of one event for wrk, each with a fresh 128-bit key. Arguments: project key, then the body's parts before
-- and after the idempotency key.
local before, after

function init(args)
  math.randomseed(os.time() * 1000 + tonumber(tostring({}):sub(8)) % 1000)
  local length = #args[2] + 32 + #args[3]
  before = "POST " .. wrk.path .. " HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer " .. args[1]
    .. "\r\ncontent-type: application/json\r\ncontent-length: " .. length .. "\r\n\r\n" .. args[2]
  after = args[3]
end

local random, format, top = math.random, string.format, 4294967295

function request()
  return before .. format("%08x%08x%08x%08x", random(0, top), random(0, top), random(0, top), random(0, top)) .. after
end

function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
    + summary.errors.timeout
  io.write(format('RESULT {"requests": %d, "seconds": %f, "failed": %d, "p50": %f, "p90": %f, "p99": %f, "p99.9": %f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
