// mixpanel-java as an app uses it: what stdin says is sent, message by message; again where the SDK says that it failed.
import com.google.gson.Gson;
import com.mixpanel.mixpanelapi.*;
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.*;
import org.json.JSONObject;

class MixpanelJava {
  static class Script { String host, key; List<Message> messages; }
  static class Message {
    String event, user, anonymous, group, old, at;
    @com.google.gson.annotations.SerializedName("do") String kind;
    Map<String, Object> properties, traits;
  }

  static void send(MixpanelAPI api, JSONObject message) {
    ClientDelivery delivery = new ClientDelivery();
    delivery.addMessage(message);
    for (int tries = 1; ; tries++) {
      try {
        api.deliver(delivery);
        return;
      } catch (IOException error) {
        if (tries == 8) throw new UncheckedIOException(error);
      }
    }
  }

  public static void main(String[] arguments) {
    Script script = new Gson().fromJson(new InputStreamReader(System.in, StandardCharsets.UTF_8), Script.class);
    String host = script.host;
    MixpanelAPI api = new MixpanelAPI(host + "/track", host + "/engage", host + "/groups", host + "/import");
    MessageBuilder builder = new MessageBuilder(script.key);
    for (Message one : script.messages) {
      long time = OffsetDateTime.parse(one.at).toInstant().toEpochMilli();
      switch (one.kind) {
        case "track" -> {
          JSONObject properties = new JSONObject(one.properties).put("time", time);
          send(api, builder.event(one.user != null ? one.user : one.anonymous, one.event, properties));
        }
        case "identify" -> {
          JSONObject properties = new JSONObject().put("$anon_distinct_id", one.anonymous).put("time", time);
          send(api, builder.importEvent(one.user, "$identify", properties));
          send(api, builder.set(one.user, new JSONObject(one.traits)));
        }
        case "alias" -> send(api, builder.event(one.old, "$create_alias", new JSONObject().put("alias", one.user)));
        case "group" -> send(api, builder.groupSet("company", one.group, new JSONObject(one.traits)));
      }
    }
  }
}
