// posthog-node as an app uses it: what stdin says is sent, message by message.
const { PostHog } = require(process.env.SDK_MODULES + "/posthog-node");
const script = JSON.parse(require("fs").readFileSync(0, "utf8"));

async function main() {
  const client = new PostHog(script.key, { host: script.host, flushAt: 1, fetchRetryCount: 10, fetchRetryDelay: 200 });
  for (const one of script.messages) {
    const distinctId = one.user || one.anonymous;
    const timestamp = one.at && new Date(one.at);
    if (one.do === "track") client.capture({ distinctId, event: one.event, properties: one.properties, timestamp });
    if (one.do === "identify")
      client.identify({ distinctId, properties: { $set: one.traits, $anon_distinct_id: one.anonymous } });
    if (one.do === "alias") client.alias({ distinctId: one.user, alias: one.old });
    if (one.do === "group") client.groupIdentify({ groupType: "company", groupKey: one.group, properties: one.traits });
    await client.flush().catch(() => {});
  }
  await client.shutdown(30000);
}
main();
