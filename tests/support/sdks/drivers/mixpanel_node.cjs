// mixpanel (npm) as an app uses it: what stdin says is sent, message by message. It sends nothing again.
const Mixpanel = require(process.env.SDK_MODULES + "/mixpanel");
const script = JSON.parse(require("fs").readFileSync(0, "utf8"));
const address = new URL(script.host);

async function main() {
  const client = Mixpanel.init(script.key, { host: address.hostname + ":" + address.port, protocol: "http" });
  for (const one of script.messages) {
    const distinct_id = one.user || one.anonymous;
    const time = Date.parse(one.at);
    await new Promise((done, failed) => {
      const then = (error) => (error ? failed(error) : done());
      if (one.do === "track") client.track(one.event, { distinct_id, time, ...one.properties }, then);
      if (one.do === "identify")
        client.track("$identify", { distinct_id, time, $anon_distinct_id: one.anonymous }, (error) =>
          error ? failed(error) : client.people.set(distinct_id, one.traits, then),
        );
      if (one.do === "alias") client.alias(one.old, one.user, then);
      if (one.do === "group") client.groups.set("company", one.group, one.traits, then);
    });
  }
}
main();
