// com.segment.analytics.java as an app uses it: what stdin says is sent, message by message.
import com.google.gson.Gson;
import com.segment.analytics.Analytics;
import com.segment.analytics.messages.*;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.*;

class SegmentJava {
  static class Script { String host, key; List<Message> messages; }
  static class Message {
    String event, name, user, anonymous, group, old, at;
    @com.google.gson.annotations.SerializedName("do") String kind;
    Map<String, Object> properties, traits;
  }

  static MessageBuilder<?, ?> builder(Message one) {
    return switch (one.kind) {
      case "track" -> TrackMessage.builder(one.event).properties(one.properties);
      case "page" -> PageMessage.builder(one.name).properties(one.properties);
      case "identify" -> IdentifyMessage.builder().traits(one.traits);
      case "alias" -> AliasMessage.builder(one.old);
      case "group" -> GroupMessage.builder(one.group).traits(one.traits);
      default -> throw new IllegalArgumentException(one.kind);
    };
  }

  public static void main(String[] arguments) {
    Script script = new Gson().fromJson(new InputStreamReader(System.in, StandardCharsets.UTF_8), Script.class);
    Analytics client = Analytics.builder(script.key).endpoint(script.host).flushQueueSize(1).build();
    for (Message one : script.messages) {
      MessageBuilder<?, ?> message = builder(one);
      if (one.user != null) message.userId(one.user);
      if (one.anonymous != null) message.anonymousId(one.anonymous);
      if (one.at != null) message.timestamp(Date.from(OffsetDateTime.parse(one.at).toInstant()));
      client.enqueue(message);
    }
    client.shutdown();
  }
}
