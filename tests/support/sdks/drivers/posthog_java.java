// com.posthog:posthog-server as an app uses it: what stdin says is sent, message by message.
import com.google.gson.Gson;
import com.posthog.server.*;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.*;

class PosthogJava {
  static class Script { String host, key; List<Message> messages; }
  static class Message {
    String event, user, anonymous, group, old, at;
    @com.google.gson.annotations.SerializedName("do") String kind;
    Map<String, Object> properties, traits;
  }

  public static void main(String[] arguments) throws InterruptedException {
    Script script = new Gson().fromJson(new InputStreamReader(System.in, StandardCharsets.UTF_8), Script.class);
    PostHogInterface client = PostHog.with(PostHogConfig.builder(script.key).host(script.host).build());
    for (Message one : script.messages) {
      PostHogCaptureOptions.Builder options = PostHogCaptureOptions.builder();
      if (one.at != null) options.timestamp(OffsetDateTime.parse(one.at).toInstant());
      switch (one.kind) {
        case "track" ->
          client.capture(one.user != null ? one.user : one.anonymous, one.event, options.properties(one.properties).build());
        case "identify" -> {
          Map<String, Object> properties = Map.of("$anon_distinct_id", one.anonymous, "$set", one.traits);
          client.capture(one.user, "$identify", options.properties(properties).build());
        }
        case "alias" -> client.alias(one.user, one.old);
        case "group" -> client.group(one.user, "company", one.group, one.traits);
      }
      Thread.sleep(50);
      client.flush();
    }
    // It says nowhere what is still to be sent. What was refused goes first at the next flush.
    for (int again = 0; again < 10; again++) {
      Thread.sleep(50);
      client.flush();
    }
    client.close();
    System.exit(0);
  }
}
