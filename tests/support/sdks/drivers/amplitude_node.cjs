// @amplitude/analytics-node as an app uses it: what stdin says is sent, message by message.
const amplitude = require(process.env.SDK_MODULES + "/@amplitude/analytics-node");
const script = JSON.parse(require("fs").readFileSync(0, "utf8"));

function traitsOf(traits) {
  const identify = new amplitude.Identify();
  Object.entries(traits).forEach(([name, value]) => identify.set(name, value));
  return identify;
}

async function main() {
  const options = { serverUrl: script.host + "/2/httpapi", flushQueueSize: 1, flushIntervalMillis: 50, logLevel: 0 };
  await amplitude.init(script.key, options).promise;
  for (const one of script.messages) {
    const ids = { user_id: one.user, device_id: one.anonymous, time: Date.parse(one.at) };
    let sent;
    if (one.do === "track") sent = amplitude.track(one.event, one.properties, ids);
    if (one.do === "identify") sent = amplitude.identify(traitsOf(one.traits), ids);
    if (one.do === "group") sent = amplitude.groupIdentify("company", one.group, traitsOf(one.traits), ids);
    await sent.promise;
  }
  await amplitude.flush().promise;
}
main().then(() => process.exit(0));
