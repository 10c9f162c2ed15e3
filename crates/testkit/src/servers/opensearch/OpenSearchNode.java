import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.ingest.AbstractProcessor;
import org.opensearch.ingest.ConfigurationUtils;
import org.opensearch.ingest.IngestDocument;
import org.opensearch.ingest.Processor;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.IngestPlugin;
import org.opensearch.plugins.Plugin;

/** Starts one OpenSearch node: FOLDER PLUGIN,PLUGIN… SETTING=VALUE… */
public class OpenSearchNode extends Node {
  OpenSearchNode(Environment environment, Collection<Class<? extends Plugin>> plugins) {
    super(environment, plugins, false);
  }

  public static void main(String[] arguments) throws Exception {
    Path home = Paths.get(arguments[0]);
    Files.createDirectories(home.resolve("config"));
    Settings.Builder settings = Settings.builder().put("path.home", home.toString());
    for (int i = 2; i < arguments.length; i++) {
      String[] pair = arguments[i].split("=", 2);
      settings.put(pair[0], pair[1]);
    }
    List<Class<? extends Plugin>> plugins = new ArrayList<>();
    for (String name : arguments[1].split(",")) plugins.add(Class.forName(name).asSubclass(Plugin.class));
    new OpenSearchNode(
        InternalSettingsPreparer.prepareEnvironment(settings.build(), Collections.emptyMap(), null, () -> "node"),
        plugins).start();
    Thread.currentThread().join();
  }

  /** A processor for pipelines that gives a document the id that stands in a field: {"key_by": {"field": "n"}}. */
  public static class KeyBy extends Plugin implements IngestPlugin {
    @Override
    public Map<String, Processor.Factory> getProcessors(Processor.Parameters parameters) {
      return Collections.singletonMap("key_by", (others, tag, description, config) -> {
        String field = ConfigurationUtils.readStringProperty("key_by", tag, config, "field");
        return new AbstractProcessor(tag, description) {
          @Override
          public IngestDocument execute(IngestDocument document) {
            document.setFieldValue("_id", document.getFieldValue(field, Object.class).toString());
            return document;
          }

          @Override
          public String getType() {
            return "key_by";
          }
        };
      });
    }
  }
}
