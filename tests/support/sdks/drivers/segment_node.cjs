// @segment/analytics-node as an app uses it: what stdin says is sent, message by message.
const { Analytics } = require(process.env.SDK_MODULES + "/@segment/analytics-node");
const script = JSON.parse(require("fs").readFileSync(0, "utf8"));

async function main() {
  const client = new Analytics({ writeKey: script.key, host: script.host, flushAt: 1, maxRetries: 10 });
  for (const one of script.messages) {
    const common = { userId: one.user, anonymousId: one.anonymous, timestamp: one.at && new Date(one.at) };
    await new Promise((done) => {
      if (one.do === "track") client.track({ ...common, event: one.event, properties: one.properties }, done);
      if (one.do === "page") client.page({ ...common, name: one.name, properties: one.properties }, done);
      if (one.do === "identify") client.identify({ ...common, traits: one.traits }, done);
      if (one.do === "alias") client.alias({ userId: one.user, previousId: one.old }, done);
      if (one.do === "group") client.group({ ...common, groupId: one.group, traits: one.traits }, done);
    });
  }
  await client.closeAndFlush({ timeout: 30000 });
}
main();
