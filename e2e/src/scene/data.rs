//! Much data in the scene's keyspace, by stock clients.

use anyhow::{Context, Result, ensure};

use super::Scene;

impl Scene {
    /// Puts `keys` keys of 16 B with values of `bytes` each to the master of the first group, which
    /// must own all slots; every write is answered.
    ///
    /// # Errors
    /// If one is refused, or redis-cli does not get through.
    pub fn fill(&self, keys: u64, bytes: usize) -> Result<()> {
        let master = self.address_of_master(&self.group())?;
        let lines = format!(
            "BEGIN {{ v = sprintf(\"%{bytes}s\", \"\"); gsub(/ /, \"x\", v); \
             for (i = 0; i < {keys}; i++) printf \"SET fill:%011d %s\\r\\n\", i, v }}"
        );
        let script = format!("awk '{lines}' | redis-cli -h {master} --pipe 2>&1");
        let said = self.tool(&["sh", "-c", &script])?;
        ensure!(said.contains(&format!("errors: 0, replies: {keys}")), "redis-cli said {said}");
        Ok(())
    }

    /// How many keys the master of a group holds.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn keys(&self, group: &str) -> Result<u64> {
        let master = self.address_of_master(group)?;
        let said = self.tool(&["redis-cli", "-h", &master, "DBSIZE"])?;
        said.trim().parse().with_context(|| format!("DBSIZE: {said}"))
    }

    fn address_of_master(&self, group: &str) -> Result<String> {
        let master = self.roles_of(group)?.master;
        let pod = self.pods()?.remove(&master);
        pod.map(|pod| pod.address).with_context(|| format!("{master} is no pod"))
    }
}
