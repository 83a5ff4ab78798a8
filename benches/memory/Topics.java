import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes a topic whose Kafka batches have exactly the size that is asked for: a batch ends where the producer is
 * flushed, and nowhere else.
 *
 * <p>Arguments: BOOTSTRAP TOPIC PARTITIONS CODEC BATCHES RECORDS BYTES; in each partition so many batches of so many
 * records with values of so many bytes.
 */
final class Topics {
  public static void main(String[] args) throws Exception {
    String topic = args[1];
    int partitions = Integer.parseInt(args[2]);
    int batches = Integer.parseInt(args[4]);
    int records = Integer.parseInt(args[5]);
    int bytes = Integer.parseInt(args[6]);
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
      Collection<NewTopic> topics = List.of(new NewTopic(topic, partitions, (short) 1));
      admin.createTopics(topics).all().get();
    }
    Map<String, Object> settings =
        Map.of(
            "bootstrap.servers", args[0],
            "compression.type", args[3],
            "batch.size", 16 << 20, // more than any batch here, so that none ends by itself
            "linger.ms", 60_000,
            "buffer.memory", 128L << 20,
            "max.request.size", 32 << 20,
            "enable.idempotence", false,
            "acks", "1");
    try (var producer =
        new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int partition = 0; partition < partitions; partition++) {
        for (int batch = 0; batch < batches; batch++) {
          for (int record = 0; record < records; record++) {
            byte[] value = value(partition, batch, record, bytes);
            producer.send(new ProducerRecord<>(topic, partition, null, value));
          }
          producer.flush();
        }
      }
    }
  }

  /** A JSON object, whose words repeat as those of real ones do. */
  private static byte[] value(int partition, int batch, int record, int bytes) {
    String[] words = {"created", "paid", "packed", "shipped", "delivered", "returned"};
    Random random = new Random(((long) partition << 40) + ((long) batch << 20) + record);
    StringBuilder text = new StringBuilder(bytes).append("{\"order\":").append(record);
    while (text.length() < bytes - 24) {
      text.append(",\"").append(words[random.nextInt(words.length)]).append("\":");
      text.append(random.nextInt(100));
    }
    while (text.length() < bytes - 1) {
      text.append(' ');
    }
    return text.append('}').toString().getBytes(StandardCharsets.UTF_8);
  }
}
